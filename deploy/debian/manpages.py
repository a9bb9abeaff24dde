#!/usr/bin/env python3
"""manpages.py EXECUTABLE VERSION DIRECTORY — a man page for martlet and for each sub-command, out of its own option parser."""

import json
import os
import subprocess
import sys
from pathlib import Path


def roff(text):
    """Text that troff takes as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in text.split("\n"))


def form(argument):
    """`--name VALUE`, as it is typed."""
    value = argument.get("valueName", "value").upper()
    if argument["kind"] == "positional":
        return roff(value)
    names = []
    for name in argument.get("names", []):
        dash = {"long": "--", "short": "-", "longWithSingleDash": "-"}[name["kind"]]
        names.append("\\fB" + roff(dash + name["name"]) + "\\fR")
    text = ", ".join(names)
    return text if argument["kind"] == "flag" else f"{text} \\fI{roff(value)}\\fR"


def synopsis(path, command):
    words = ["\\fB" + " ".join(roff(word) for word in path) + "\\fR"]
    if command.get("subcommands"):
        words.append("\\fICOMMAND\\fR")
    for argument in command.get("arguments", []):
        if not argument.get("shouldDisplay", True) or argument.get("names", [{}])[0].get("name") in ("help", "h"):
            continue
        word = form(argument).split(", ")[-1]
        if argument.get("isRepeating"):
            word += " ..."
        words.append(f"[{word}]" if argument.get("isOptional") else word)
    return " ".join(words)


def page(path, command, version, everything):
    name = "-".join(path)
    abstract = command.get("abstract", "").rstrip(".")
    lines = [f'.TH "{roff(name).upper()}" 1 "" "martlet {version}" "Martlet"', ".SH NAME",
             f"{roff(name)} \\- {roff(abstract[:1].lower() + abstract[1:])}", ".SH SYNOPSIS", synopsis(path, command)]
    lines += [".SH DESCRIPTION", roff(command.get("abstract", ""))]
    if command.get("discussion"):
        lines += [".PP", roff(command["discussion"])]
    subcommands = [sub for sub in command.get("subcommands", []) if sub["commandName"] != "help"]
    if subcommands:
        lines.append(".SH COMMANDS")
        for sub in subcommands:
            lines += [".TP", "\\fB" + roff("-".join(path + [sub["commandName"]])) + "\\fR(1)", roff(sub.get("abstract", ""))]
    arguments = [one for one in command.get("arguments", []) if one.get("shouldDisplay", True)]
    if arguments:
        lines.append(".SH OPTIONS")
        for argument in arguments:
            lines += [".TP", form(argument), roff(argument.get("abstract", "").rstrip("."))]
            if argument.get("allValues"):
                lines.append("One of " + roff(", ".join(argument["allValues"])) + ".")
            if argument.get("defaultValue"):
                lines.append("Default: " + roff(argument["defaultValue"]) + ".")
    if len(path) == 1:
        lines += [".SH ENVIRONMENT", ".TP", "\\fBMARTLET_\\fIFILE\\fB_\\fIKEY\\fR",
                  roff("Any key of any file of the configuration, such as MARTLET_OUTBOUND_DISABLED; with _FILE behind "
                       "it, a file that holds the value. A variable wins over the file."),
                  ".SH FILES", ".TP", "\\fI/etc/martlet\\fR", "The configuration; each file documents its keys.",
                  ".TP", "\\fI/var/lib/martlet\\fR", "The queue, and the socket of the API.",
                  ".SH SIGNALS", ".TP", "SIGHUP", "Read the configuration again, and make deferred mail due now.",
                  ".TP", "SIGTERM, SIGINT", "Take no new mail, end what is in flight, exit.",
                  ".SH EXIT STATUS",
                  roff("0 for success; 64 for a wrong call; 69 when no relay answers; 75 when it should be tried again "
                       "later; 1 for other failures.")]
    others = sorted(one for one in everything if one != name and (one.startswith(path[0]) and one.count("-") <= 1))
    lines += [".SH SEE ALSO", ", ".join(f"\\fB{roff(one)}\\fR(1)" for one in others[:14])]
    return name, "\n".join(lines) + "\n"


def walk(path, command):
    yield path, command
    for sub in command.get("subcommands", []):
        if sub["commandName"] != "help":
            yield from walk(path + [sub["commandName"]], sub)


def main(executable, version, directory):
    dump = subprocess.run([executable, "--experimental-dump-help"], capture_output=True, check=True, text=True,
                          env={"PATH": os.environ["PATH"]})
    root = json.loads(dump.stdout)["command"]
    commands = list(walk([root["commandName"]], root))
    names = ["-".join(path) for path, _ in commands]
    Path(directory).mkdir(parents=True, exist_ok=True)
    for path, command in commands:
        name, text = page(path, command, version, names)
        Path(directory, f"{name}.1").write_text(text)
    print(f"{len(commands)} man pages")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
