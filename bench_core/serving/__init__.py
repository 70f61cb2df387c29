"""The pages of `bench site` from a small server on this machine, live while a run goes on.

pages.py         builds the pages into a temporary folder, and again when records change
live_state.py    what runs in a store: chains, progress, losses, lines of logs, as JSON for the page "Live"
app.py           answers requests: token, Host, GET alone, the pages, the JSON
server.py        finds a free port, and serves until a signal ends it
"""
