"""The files of a study on disk: atomic writes, checksums, and the study's folder."""
