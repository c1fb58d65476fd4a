"""The report: a run's stored evidence as one page, with a recommendation and its reason."""
