"""Tables of records: selects their rows and columns, computes their values and prints them."""
