"""Tables: embedded data sets, files, and their encoding."""
