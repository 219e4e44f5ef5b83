"""Everything written for a study: masks, JSON, CSV, figures, PDF."""
