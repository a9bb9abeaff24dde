# disk_image.py — the disk as a power cut leaves it, built from the record that shims/disk.c made of a relay's system calls.
#
# The model is stricter than ext4: bytes are safe only after a sync of their file that began after the write, and a name
# only after a sync of its directory. What was not synced may be there or not: bytes sector by sector, names as a prefix of
# the changes of one directory. A failed sync never makes its bytes safe, even if a later sync of the same file succeeds.

import dataclasses
import os
import struct

ENTRY = struct.Struct("<IBBHiIQQQ")
MAGIC = 0x4D41524B


@dataclasses.dataclass(slots=True)
class Event:
    at: int  # bytes of the record in front of it
    end: int
    kind: str
    flag: int
    error: int
    inode: int
    offset: int
    length: int
    name: str
    data: memoryview | None


def read_events(path):
    """Every complete entry of the record."""
    with open(path, "rb") as file:
        whole = memoryview(file.read())
    events, at = [], 0
    while at + ENTRY.size <= len(whole):
        magic, kind, flag, names, error, _, inode, offset, length = ENTRY.unpack_from(whole, at)
        assert magic == MAGIC, f"the record is broken at {at}"
        start, kind = at, chr(kind)
        at += ENTRY.size
        name = bytes(whole[at : at + names]).decode(errors="surrogateescape")
        at += names
        data = None
        if kind == "W":
            data = whole[at : at + length]
            at += length
        if at > len(whole):
            break
        events.append(Event(start, at, kind, flag, error, inode, offset, length, name, data))
    return events


class _File:
    def __init__(self):
        self.safe = bytearray()
        self.pending = []  # events in order
        self.doubtful = []  # written before a sync that failed: never safe


def _apply(content, event):
    if event.kind == "W":
        end = event.offset + event.length
        if len(content) < event.offset:
            content.extend(bytes(event.offset - len(content)))
        content[event.offset : end] = event.data
    elif event.kind == "T":
        if len(content) > event.offset:
            del content[event.offset :]
        else:
            content.extend(bytes(event.offset - len(content)))
    elif event.kind == "P":
        end = min(event.offset + event.length, len(content))
        if end > event.offset:
            content[event.offset : end] = bytes(end - event.offset)


def _keep_some(content, event, random, sector):
    if event.kind != "W":
        if random.random() < 0.5:
            _apply(content, event)
        return
    at = event.offset
    end = event.offset + event.length
    while at < end:
        stop = min(end, (at // sector + 1) * sector)
        if random.random() < 0.5:
            if len(content) < at:
                content.extend(bytes(at - len(content)))
            content[at:stop] = event.data[at - event.offset : stop - event.offset]
        at = stop


class _Directory:
    def __init__(self):
        self.pending = []  # (at, operation) in order


class Disk:
    """The state of the watched directory after the first `cut` bytes of the record."""

    def __init__(self, events, root, cut):
        self.root = os.path.realpath(root)
        self.files = {}  # inode -> _File
        self.names = {}  # path -> inode, or None for a directory; safe names only
        self.directories = {self.root: _Directory()}
        self.unsynced = 0  # bytes written and not synced at the cut
        for event in events:
            if event.end > cut:
                break
            self._take(event)

    def _file(self, inode):
        return self.files.setdefault(inode, _File())

    def _note(self, event, path, operation):
        self.directories.setdefault(os.path.dirname(path), _Directory()).pending.append((event.at, operation))

    def _take(self, event):
        kind = event.kind
        if kind == "C":
            # A new file may get the number of a removed one; whoever still bears the old name keeps the old content.
            old = self.files.get(event.inode)
            if old is not None:
                ghost = object()
                self.files[ghost] = old
                self._rename_inode(event.inode, ghost)
            self.files[event.inode] = _File()
            self._note(event, event.name, ("add", event.name, event.inode))
        elif kind == "M":
            self.directories.setdefault(event.name, _Directory())
            self._note(event, event.name, ("add", event.name, None))
        elif kind in "UD":
            self._note(event, event.name, ("remove", event.name, None))
        elif kind in "RL":
            old, new = event.name.split("\0")
            if kind == "R" and os.path.dirname(old) == os.path.dirname(new):
                self._note(event, new, ("rename", (old, new), event.inode))
            else:
                self._note(event, new, ("add", new, event.inode))
                if kind == "R":
                    self._note(event, old, ("remove", old, None))
        elif kind == "W" and event.flag:
            _apply(self._file(event.inode).safe, event)
        elif kind in "WTP":
            self._file(event.inode).pending.append(event)
        elif kind == "S" and event.flag and not event.error:
            directory = self.directories.get(event.name)
            while directory and directory.pending and directory.pending[0][0] < event.offset:
                self._rename(self.names, directory.pending.pop(0)[1])
        elif kind == "S" and not event.flag:
            file = self._file(event.inode)
            done = [e for e in file.pending if e.at < event.offset]
            file.pending = [e for e in file.pending if e.at >= event.offset]
            if event.error:
                file.doubtful += done
            else:
                for write in done:
                    _apply(file.safe, write)

    def _rename_inode(self, old, new):
        for path, inode in self.names.items():
            if inode == old:
                self.names[path] = new
        for directory in self.directories.values():
            directory.pending = [
                (at, (what, path, new if inode == old else inode)) for at, (what, path, inode) in directory.pending
            ]

    @staticmethod
    def _rename(names, operation):
        what, path, inode = operation
        if what == "add":
            names[path] = inode
        elif what == "remove":
            names.pop(path, None)
        else:
            names.pop(path[0], None)
            names[path[1]] = inode

    def build(self, target, random, keep):
        """Writes one possible disk under `target`; `keep` of what was not synced: "none", "all" or "some"."""
        names = dict(self.names)
        for directory in self.directories.values():
            count = {"none": 0, "all": len(directory.pending)}.get(keep)
            if count is None:
                count = random.randint(0, len(directory.pending))
            for _, operation in directory.pending[:count]:
                self._rename(names, operation)
        os.makedirs(target, exist_ok=True)
        built = {}
        for path in sorted(names):
            inside = os.path.join(target, os.path.relpath(path, self.root))
            if not os.path.isdir(os.path.dirname(inside)):
                continue  # its directory did not survive
            inode = names[path]
            if inode is None:
                os.makedirs(inside, exist_ok=True)
            elif inode in built:
                os.link(built[inode], inside)
            else:
                self._write(inside, self.files.get(inode) or _File(), random, keep)
                built[inode] = inside

    def _write(self, path, file, random, keep):
        content = file.safe
        pending = sorted(file.doubtful + file.pending, key=lambda event: event.at)
        if pending and keep != "none":
            content = bytearray(content)
            sector = random.choice((512, 4096))
            for event in pending:
                if keep == "all":
                    _apply(content, event)
                else:
                    _keep_some(content, event, random, sector)
        view, step = memoryview(content), 1 << 16
        with open(path, "wb") as out:
            out.truncate(len(content))
            for at in range(0, len(content), step):
                piece = view[at : at + step]
                if piece != bytes(len(piece)):
                    out.seek(at)
                    out.write(piece)
