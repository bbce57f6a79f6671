"""A web page that says who serves it; `python app.py --once` answers a single request of its own and ends."""

import os
import sys
import threading
import urllib.request
from wsgiref.simple_server import make_server

from bottle import Bottle

app = Bottle()


@app.get("/")
def index() -> str:
    """Say hello."""
    return f"Hello from a container, as user {os.getuid()}.\n"


def main() -> None:
    """Serve until the end, or once."""
    once = "--once" in sys.argv
    server = make_server("127.0.0.1" if once else "0.0.0.0", 0 if once else 8000, app)
    if not once:
        server.serve_forever()
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/") as answer:
        print(answer.read().decode(), end="")
    thread.join()


if __name__ == "__main__":
    main()
