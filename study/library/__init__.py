"""What a notebook uses: `README.md` beside this file has all of it, and an example."""
