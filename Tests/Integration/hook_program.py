"""hook_program.py - a program outside of the relay that answers hooks (hooks.ini), as the tests want it."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from waiting import free_port

QUICK = {"temp_fail_intervals": "1s*100", "lane_rest_max": 1, "pool_timeout": 1}


class HookServer:
    """A hook program: `answers` by hook, each a dict, bytes, a status, or a function of the question."""

    def __init__(self, answers=None, unix=None):
        self.answers = dict(answers or {})
        self.questions = []
        self.connections = 0
        self.released = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                hook.connections += 1
                super().setup()

            def address_string(self):
                return "hook"

            def do_POST(self):
                question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.questions.append(question)
                answer = hook.answers.get(question["hook"])
                if callable(answer):
                    answer = answer(question)
                status, body = 200, b""
                if isinstance(answer, int):
                    status = answer
                elif isinstance(answer, bytes):
                    body = answer
                elif answer is not None:
                    body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_UNIX if unix else socket.AF_INET
            daemon_threads = True
            block_on_close = False
            request_queue_size = 128

            def server_bind(self):
                if not unix:
                    self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self.socket.bind(self.server_address)

            def handle_error(self, *_):
                pass

        self.unix = unix
        self.port = None if unix else free_port()
        self.make = lambda: Server(str(unix) if unix else ("127.0.0.1", self.port), Handler)
        self.server = None
        self.start()

    def start(self):
        self.server = self.make()
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self):
        return f"unix:{self.unix}:/hooks" if self.unix else f"http://127.0.0.1:{self.port}/hooks"

    def ini(self, hooks=None, **keys):
        lines = ["[policy]", f"url = {self.url}", f"hooks = {hooks or ', '.join(self.answers)}"]
        return "\n".join(lines + [f"{key} = {value}" for key, value in keys.items()]) + "\n"

    def asked(self, hook):
        return [question for question in self.questions if question["hook"] == hook]

    def hang(self, _):
        self.released.wait(30)

    def close(self):
        self.released.set()
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None
