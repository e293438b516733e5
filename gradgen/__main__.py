"""`python -m gradgen`: the same as the command `gradgen`."""

from gradgen.cli import app

app(prog_name="gradgen")
