"""The telling of results: names, sentences, tables, charts, pictures and the report."""
