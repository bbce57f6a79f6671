"""Where files come from: build contexts and what ADD fetches."""
