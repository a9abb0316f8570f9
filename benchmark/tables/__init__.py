"""Tables made from records: which rows and columns they have, and how they are printed."""
