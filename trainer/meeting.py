"""Where the hosts of a gang meet: a store that the leading host opens on the run's network alone.

PyTorch would listen on every interface. Given a socket that is bound already, it listens there.
Places are given, not drawn: the order of the ranks decides the bits.
"""

import fcntl
import ipaddress
import socket
import struct
from datetime import timedelta

import torch.distributed as dist
from torch.distributed.elastic.agent.server.api import SimpleElasticAgent
from torch.distributed.elastic.rendezvous import (
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
    RendezvousStoreInfo,
    rendezvous_handler_registry,
)

from trainer.config import Gang

BACKEND = 'temper'
_SIOCGIFADDR, _SIOCGIFNETMASK = 0x8915, 0x891B
# A host may have to fetch the data and a checkpoint before its trainer comes.
_PATIENCE = timedelta(minutes=30)


def interface_of(address: str) -> str:
    """The network interface that has this address."""
    wanted = ipaddress.IPv4Address(address)
    found = None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            raise ValueError(
                f'gang.localAddress: found {address}, which no interface of this host has; '
                "expected this host's IPv4 address on the run's network"
            ) from error
        for _, name in socket.if_nameindex():
            request = struct.pack('256s', name.encode())
            try:
                first = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)[20:24]
                mask = fcntl.ioctl(probe.fileno(), _SIOCGIFNETMASK, request)[20:24]
            except OSError:
                continue  # It has no IPv4 address.
            if ipaddress.IPv4Address(first) == wanted:
                return name
            # A second address of an interface lies in the network of the first.
            network = f'{socket.inet_ntoa(first)}/{socket.inet_ntoa(mask)}'
            if wanted in ipaddress.IPv4Network(network, strict=False):
                found = found or name
    if found is None:
        raise ValueError(f'gang.localAddress: found {address}, but no interface by that network')
    return found


def open_store(gang: Gang) -> dist.Store:
    """Opens the store of a meeting: for the leading host, which all others then find there."""
    listener = socket.create_server((gang.address, gang.port), backlog=1024)
    # The store closes it.
    return _named(
        gang,
        dist.TCPStore(
            gang.address,
            gang.port,
            is_master=True,
            timeout=_PATIENCE,
            wait_for_workers=False,
            master_listen_fd=listener.detach(),
            use_libuv=True,
        ),
    )


def find_store(gang: Gang) -> dist.Store:
    """The store of a meeting as every other process uses it; waits until it is there."""
    store = dist.TCPStore(
        gang.address, gang.port, is_master=False, timeout=_PATIENCE, wait_for_workers=False
    )
    return _named(gang, store)


def _named(gang: Gang, store: dist.Store) -> dist.Store:
    """Whoever comes late from an earlier meeting at the same address finds none of its names."""
    return dist.PrefixStore(gang.meeting, store)


class _Meeting(RendezvousHandler):
    """As torchrun's agents meet: each host at its place, once."""

    def __init__(self, gang: Gang) -> None:
        self._gang = gang

    def get_backend(self) -> str:
        return BACKEND

    @property
    def use_agent_store(self) -> bool:
        return False

    def next_rendezvous(self) -> RendezvousInfo:
        gang = self._gang
        store = open_store(gang) if gang.host == 0 else find_store(gang)
        return RendezvousInfo(
            dist.PrefixStore('agents', store),
            gang.host,
            gang.numHosts,
            RendezvousStoreInfo(gang.address, gang.port),
        )

    def is_closed(self) -> bool:
        return False

    def set_closed(self) -> None:
        pass

    def num_nodes_waiting(self) -> int:
        return 0

    def get_run_id(self) -> str:
        return self._gang.meeting

    def shutdown(self) -> bool:
        return True


def teach_torchrun(gang: Gang) -> None:
    """Makes this meeting known to torchrun, as the backend of its rendezvous."""

    def create(_: RendezvousParameters) -> RendezvousHandler:
        return _Meeting(gang)

    rendezvous_handler_registry.register(BACKEND, create)
    # Agents would wait five minutes for one that was told to stop, and nothing here needs that.
    SimpleElasticAgent._exit_barrier = lambda _: None
