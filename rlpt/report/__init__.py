"""The report and the pages of collections: the paper's claims, verdicts on them, and how they are shown."""
