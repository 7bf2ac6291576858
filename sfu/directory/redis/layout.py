"""The keys in Redis, and what is done to each in one step. docs/protocols/directory.md describes them.

    P:cluster         hash: layout, check, epoch, born   who may join, and whether data was lost
    P:apps            hash: app id -> sealed app         each change is a message on the channel of this name
    P:certificates    hash: fingerprint -> sealed one    the same
    P:{nodes}         set: ids of nodes
    P:{nodes}:ID      string: sealed node; expires       its lease
    P:session:{ID}    hash: v -> version, r -> sealed    each change is a message on the channel of this name
    P:sessions        sorted set: ID by creation         all sessions, and perhaps some that are gone
    P:unconnected     sorted set: ID by creation         those that never connected, and others

P is the prefix. No command and no script touches two slots of a Redis Cluster. A session and its entries in
the sorted sets are different slots, so the sets are filled before and emptied after: they may name too many.

A deleted session leaves its version without a record for a while, so that a node that was cut off knows it
from one that was lost. What a full Redis must still do (delete, prolong a lease) uses no command that it
refuses then.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfu.directory.redis.link import Command

if TYPE_CHECKING:
    from typing import Any

    from sfu.base.ids import NodeId, SessionId

LAYOUT = 1
"""Counts incompatible changes of what stands above."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of the keys under a prefix."""

    prefix: str

    @property
    def cluster(self) -> str:
        return f"{self.prefix}:cluster"

    @property
    def apps(self) -> str:
        return f"{self.prefix}:apps"

    @property
    def certificates(self) -> str:
        return f"{self.prefix}:certificates"

    @property
    def nodes(self) -> str:
        return f"{self.prefix}:{{nodes}}"

    def node(self, node: NodeId) -> str:
        return f"{self.nodes}:{node}"

    def session(self, session: SessionId) -> str:
        return f"{self.prefix}:session:{{{session}}}"

    @property
    def sessions(self) -> str:
        return f"{self.prefix}:sessions"

    @property
    def unconnected(self) -> str:
        return f"{self.prefix}:unconnected"


class Script:
    """A Lua script, called by its hash; every connection loads it first."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self._sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def load(self) -> Command[Any]:
        """Have Redis know it."""
        return Command(("SCRIPT", "LOAD", self.text))

    def words(self, keys: tuple[str, ...], *arguments: str | bytes | int) -> tuple[str | bytes | int, ...]:
        """The command that runs it."""
        return ("EVALSHA", self._sha, len(keys), *keys, *arguments)


# Each answers 0 when done, -1 where no session is, else the version that is stored.

CREATE = Script("""
local v = redis.call('HGET', KEYS[1], 'v')
if v then return tonumber(v) end
redis.call('HSET', KEYS[1], 'v', '1', 'r', ARGV[1])
redis.call('PUBLISH', KEYS[1], '1:' .. ARGV[1])
return 0
""")
"""(record)"""

REPLACE = Script("""
local v = redis.call('HGET', KEYS[1], 'v')
if not v or redis.call('HEXISTS', KEYS[1], 'r') == 0 then return -1 end
if v ~= ARGV[1] then return tonumber(v) end
redis.call('HSET', KEYS[1], 'v', ARGV[2], 'r', ARGV[3])
redis.call('PUBLISH', KEYS[1], ARGV[2] .. ':' .. ARGV[3])
return 0
""")
"""(version, next version, record)"""

DELETE = Script("""
local v = redis.call('HGET', KEYS[1], 'v')
if not v or redis.call('HEXISTS', KEYS[1], 'r') == 0 then return -1 end
if ARGV[1] ~= '' and v ~= ARGV[1] then return tonumber(v) end
redis.call('HDEL', KEYS[1], 'r')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', KEYS[1], v .. ':')
return 0
""")
"""(version or nothing, ms for which the version stays)"""

RESTORE = Script("""
local v = redis.call('HGET', KEYS[1], 'v')
if v and redis.call('HEXISTS', KEYS[1], 'r') == 0 then return -1 end
if v and tonumber(v) >= tonumber(ARGV[1]) then return tonumber(v) end
redis.call('HSET', KEYS[1], 'v', ARGV[1], 'r', ARGV[2])
redis.call('PUBLISH', KEYS[1], ARGV[1] .. ':' .. ARGV[2])
return 0
""")
"""(version, record): what the owner knows, where Redis knows less; -1 if it was deleted."""

# The other scripts.

JOIN = Script("""
redis.call('PERSIST', KEYS[1])
local time = redis.call('TIME')
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'layout', ARGV[1], 'check', ARGV[2], 'epoch', ARGV[3], 'born', time[1])
end
local found = redis.call('HMGET', KEYS[1], 'layout', 'check', 'epoch', 'born')
return {found[1], found[2], found[3], time[1] - (found[4] or 0)}
""")
"""(layout, check, epoch): those of the cluster, and its age in s. A replica refuses PERSIST."""

PUT_NODE = Script("""
if redis.call('PEXPIRE', KEYS[2], ARGV[2]) == 0 or ARGV[4] == '1' then
  redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[2])
end
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then redis.call('SADD', KEYS[1], ARGV[1]) end
return 0
""")
"""(id, ms, node, 1 if it is another one than before)"""

PUT_FIELD = Script("""
if ARGV[2] == '1' and (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[3] then return 0 end
if ARGV[4] == '' then
  if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
end
redis.call('PUBLISH', KEYS[1], ARGV[1] .. ' ' .. ARGV[4])
return 1
""")
"""(field, 1 to compare, what must be there, what is to be): 1 if it was done; nothing stands for none."""

SCRIPTS = (CREATE, REPLACE, DELETE, RESTORE, JOIN, PUT_NODE, PUT_FIELD)
