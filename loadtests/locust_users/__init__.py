"""What Locust's users do to a Rankwire server; `locustfile.py` is where Locust begins."""
