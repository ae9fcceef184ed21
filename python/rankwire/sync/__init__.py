"""How the nodes of a region reach each other.

PostgreSQL is the truth. Redis only makes it quicker: a node puts each of its batches into one
stream, the others read them there, and what is missing is read from PostgreSQL. Redis may lose
anything, come back empty, hold the work of others or be away; then nodes ask PostgreSQL more often.
This package owns the connections to Redis and the threads that use them. It never writes to the
storage, and nothing in it is waited for by a request.
"""
