"""The HTTP API: `app.build` makes it, `routes` is the table of everything it answers."""
