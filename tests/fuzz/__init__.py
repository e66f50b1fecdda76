"""`make fuzz`: Schemathesis over the API as it is served, on real rows, with and without a token."""
