"""Many pods that enroll at the same time."""

import asyncio

import httpx
from cryptography import x509

from tests.support import live_objects
from tests.support.live_server import RunningServer, serving
from tests.webhook.enrollment.test_enrollment import BODY, PATH, bearer


def test_a_thousand_pods_enroll_fifty_at_once() -> None:
    pods = [
        live_objects.pod(
            f"w{number}", "worker", f"127.1.{number // 250}.{number % 250 + 1}", f"u{number}"
        )
        for number in range(1000)
    ]

    async def enroll_all(server: RunningServer) -> list[httpx.Response]:
        slots = asyncio.Semaphore(50)
        limits = httpx.Limits(max_connections=50)
        async with httpx.AsyncClient(
            base_url=server.enrollment, verify=server.trust, limits=limits, timeout=60
        ) as client:

            async def enroll(number: int) -> httpx.Response:
                async with slots:
                    return await client.post(
                        PATH, json=BODY, headers=bearer(server.token(f"w{number}"))
                    )

            return await asyncio.gather(*map(enroll, range(1000)))

    with serving(objects=[*live_objects.objects(), *pods]) as server:
        answers = asyncio.run(enroll_all(server))
    assert [answer.status_code for answer in answers] == [200] * 1000
    leaves = [
        x509.load_pem_x509_certificate(answer.json()["certificate"].encode()) for answer in answers
    ]
    assert len({leaf.serial_number for leaf in leaves}) == 1000
    addresses = {
        str(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value[0].value)
        for leaf in leaves
    }
    assert len(addresses) == 1000, "every certificate has the address of its own pod"
    assert len({answer.json()["caBundle"] for answer in answers}) == 1
