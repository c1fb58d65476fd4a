"""The smallest artifact that still does the task: precisions tried from the smallest up, each with its evidence."""
