"""Files that want to do harm, and what must become of them."""
