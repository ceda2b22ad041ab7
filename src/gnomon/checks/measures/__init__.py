"""Formulas on arrays, texts and boxes: numbers with standard errors. They know no case, no null and no model."""
