"""Which scored rows are accepted: policies, plans, and the counts they are made from."""
