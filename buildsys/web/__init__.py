"""The HTTP side: decode, one call, encode.

services    what is given to the web application, and what it asks of it
app         the route table
middleware  request ids, errors, headers of every answer
auth        who asks, and whether they may
codec       bodies and queries in, JSON and problems out
projects, builds, tokens, logs, runners, webhooks, health, pages    the routes
log_events  records as readers get them
log_feed    one reader a followed build, however many watch
"""
