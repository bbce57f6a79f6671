"""Comparison of builds: reports of hits and misses, and the records of other builds."""
