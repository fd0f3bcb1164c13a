"""Connects to TCP ports: `dial.py ADDRESS:PORT...`; prints `ADDRESS:PORT RESULT` for each.

`open`: something listens. `refused`: nothing listens. `closed`: a firewall says no. `silent`:
there was no answer.
"""

import asyncio
import sys

_SECONDS = 15


async def dial(target: str) -> str:
    """The target, and what happened."""
    address, _, port = target.rpartition(":")
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(address, int(port))
    except TimeoutError:
        return f"{target} silent"
    except ConnectionRefusedError:
        return f"{target} refused"
    except OSError:
        return f"{target} closed"
    writer.close()
    return f"{target} open"


async def main() -> None:
    for line in await asyncio.gather(*map(dial, sys.argv[1:])):
        print(line)


if __name__ == "__main__":
    asyncio.run(main())
