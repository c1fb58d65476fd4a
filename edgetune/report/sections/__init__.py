"""One module a section: evidence in, a section out, or None where its data does not exist."""
