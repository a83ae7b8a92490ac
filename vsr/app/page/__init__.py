"""The page in the browser: what runs behind it, and what passes between the two."""
