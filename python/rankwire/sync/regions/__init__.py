"""How regions reach each other.

A region is one PostgreSQL, one Redis and some nodes. Every region pulls the batches of the others
over HTTP into its own journal, so each journal comes to hold all that was committed anywhere. One
node of a region does that, the *leader*. Nothing here writes to an engine: the nodes take foreign
batches in as they take in each other's. This package owns the HTTP sessions between regions and
the tasks that use them; what may block runs on threads.
"""
