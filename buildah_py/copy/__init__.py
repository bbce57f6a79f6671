"""COPY and ADD: what they select, and what they make of it in a layer."""
