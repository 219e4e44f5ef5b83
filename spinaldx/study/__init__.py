"""A folder of files to series, and series to volumes; the only reader of images."""
