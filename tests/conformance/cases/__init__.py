"""One file per kernel; `shelf.py` lists them."""
