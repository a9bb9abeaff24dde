#!/bin/bash
# floors.sh — the one import rule: a room imports rooms of lower floors only, and one room alone imports a C module.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The house, from the ground up. A new room gets its place here and in Package.swift.
ground="CSQLite CPQ COpenSSL CMicrohttpd CUnbound CCurl CCrypt CIDN2 CIntrinsics CContract CTimex CProcess CPage CZlib CLDAP"
floor1="Mail JSON OpenSSL Files HTTPClient Passwords Log Loop Process Database Compression"
floor2="ACME SMTP MessageFormat Storage Config DNS Hooks History Page Milter"
floor3="Queue Chronicle Suppression Logins Filters"
floor4="Intake Departure"
floor5="Ingest Delivery Admin RemoteHooks Webhooks Operator Doctor TLSReports"
floor6="martlet"
# What does not belong to the house and may be used in it.
outside="Glibc Synchronization NIOCore NIOPosix NIOEmbedded DequeModule HeapModule Metrics CoreMetrics ArgumentParser"
# Room:module, where only some rooms may.
only=""

{
    floor=0
    for rooms in "$ground" "$floor1" "$floor2" "$floor3" "$floor4" "$floor5" "$floor6"; do
        for room in $rooms; do echo "floor $room $floor"; done
        floor=$((floor + 1))
    done
    for module in $outside; do echo "outside $module"; done
    for pair in $only; do echo "only $pair"; done
    for path in Sources/*/; do echo "room $(basename "$path")"; done
    # `import X`, `package import X`, `@testable import X`, `import struct X.Y`
    grep -rnE --include='*.swift' \
        '^[[:space:]]*(@[A-Za-z_()]+ +)*((public|package|internal|fileprivate|private) +)?import ' Sources |
        sed -E 's/^([^:]*):([0-9]+):.*import +((struct|class|enum|protocol|func|var|let|typealias) +)?([A-Za-z_0-9]+).*/import \1 \2 \5/'
} | awk '
    $1 == "floor" { floor[$2] = $3 }
    $1 == "outside" { outside[$2] = 1 }
    $1 == "only" { only[$2] = 1 }
    $1 == "room" {
        rooms++
        if (!($2 in floor)) { bad++; print "Sources/" $2 " has no floor" }
    }
    $1 == "import" {
        imports++
        split($2, part, "/")
        room = part[2]
        module = $4
        place = $2 ":" $3
        if (module in floor) {
            if (floor[module] >= floor[room]) {
                bad++
                print place ": " room " (floor " floor[room] ") imports " module " (floor " floor[module] ")"
            }
            if (floor[module] == 0) {
                if (module in owner && owner[module] != room) {
                    bad++
                    print place ": " module " is imported by " owner[module] " already"
                }
                owner[module] = room
            }
        } else if (!(module in outside) && !((room ":" module) in only)) {
            bad++
            print place ": " room " may not import " module
        }
    }
    END {
        print "floors: " rooms " rooms, " imports " imports, " bad + 0 " wrong"
        exit bad > 0 || rooms == 0 || imports == 0
    }'
