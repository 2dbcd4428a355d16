"""The systemd unit of an agent: its own user, a system it can only read, a watchdog, and it never gives up."""

from __future__ import annotations

USER = "vedette-edge"
TEXT = """\
# One agent for one device: /etc/vedette/edge/NAME/edge.toml, with the device's certificate and key beside it.
#     systemctl enable --now vedette-edge@NAME
# `vedette-edge install BUNDLE --source ADDRESS` writes all of these.

[Unit]
Description=Vedette edge agent %i
Documentation=file:/opt/vedette/docs/technicians.md
After=network-online.target time-sync.target
Wants=network-online.target
# A device that nobody visits must never give up.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} run /etc/vedette/edge/%i/edge.toml
Restart=always
RestartSec=5
# The agent tells systemd twice a second that it lives. Reading a big spool at the start may take a while.
WatchdogSec=60
TimeoutStartSec=120
User=vedette-edge
Group=vedette-edge
# `data = "/var/lib/vedette-edge/NAME"` in the settings: the spool outlives the agent and the machine's power.
StateDirectory=vedette-edge/%i
StateDirectoryMode=0750
# Cameras and serial receivers.
SupplementaryGroups=video dialout
MemoryMax=512M
TasksMax=64

ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
NoNewPrivileges=yes
CapabilityBoundingSet=
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictSUIDSGID=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
ProtectKernelLogs=yes
ProtectHostname=yes
PrivateMounts=yes
RestrictRealtime=yes
RemoveIPC=yes
UMask=0027

[Install]
WantedBy=multi-user.target
"""


def text(program: str) -> str:
    """The unit that starts `program`, the path of `vedette-edge`."""
    return TEXT.replace("{program}", program)
