#!/usr/bin/env python3
"""get_mx.py — an example of a hook program: answers get_mx from a table, in any language you like; this is Python.

hooks.ini:  [table]
            url   = http://127.0.0.1:8080/
            hooks = get_mx
Start it:   get_mx.py 8080 TABLE.json      with TABLE such as {"example.com": "10.0.0.5:2525", "*": "smtp.example.net"}
"""
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept

    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open(sys.argv[2]) as file:
            table = json.load(file)
        mx = table.get(question.get("domain"), table.get("*"))
        answer = json.dumps({"code": "OK", "mx": mx} if mx else {"code": "CONT"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Hook).serve_forever()
