"""From what was read to a `Spec` and numbers, and from numbers back to the user's types."""
