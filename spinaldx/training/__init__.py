"""Train the cascade on a table of cases and write a weight bundle."""
