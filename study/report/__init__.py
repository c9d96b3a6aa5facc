"""What readers see of results: names, sentences, tables, charts, pictures and the report."""
