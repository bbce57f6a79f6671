"""Builds that are over: their records in the store, written as they run and read again."""
