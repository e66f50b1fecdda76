"""The bridge API: the queue over HTTP."""
