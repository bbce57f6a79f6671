"""Build contexts: the main one with its build file, named ones, and those from elsewhere."""
