"""Names for the identifiers of attack techniques and risks. Pure.

Short lists for model serving. Catalogues are renumbered and retired: an id that is not here stays as it is.
https://atlas.mitre.org/techniques, https://genai.owasp.org/llm-top-10/,
https://genai.owasp.org/resource/owasp-top-10-for-agentic-applications-for-2026/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.reports.model import Technique

if TYPE_CHECKING:
    from collections.abc import Iterable

ATLAS = {
    "AML.T0010": "AI Supply Chain Compromise",
    "AML.T0010.003": "AI Supply Chain Compromise: Model",
    "AML.T0018": "Manipulate AI Model",
    "AML.T0020": "Poison Training Data",
    "AML.T0024": "Exfiltration via AI Inference API",
    "AML.T0029": "Denial of AI Service",
    "AML.T0034": "Cost Harvesting",
    "AML.T0051": "LLM Prompt Injection",
    "AML.T0051.000": "LLM Prompt Injection: Direct",
    "AML.T0051.001": "LLM Prompt Injection: Indirect",
    "AML.T0053": "AI Agent Tool Invocation",
    "AML.T0054": "LLM Jailbreak",
    "AML.T0057": "LLM Data Leakage",
    "AML.T0070": "RAG Poisoning",
}
OWASP = {
    "LLM01:2025": "Prompt Injection",
    "LLM02:2025": "Sensitive Information Disclosure",
    "LLM03:2025": "Supply Chain",
    "LLM04:2025": "Data and Model Poisoning",
    "LLM05:2025": "Improper Output Handling",
    "LLM06:2025": "Excessive Agency",
    "LLM07:2025": "System Prompt Leakage",
    "LLM08:2025": "Vector and Embedding Weaknesses",
    "LLM09:2025": "Misinformation",
    "LLM10:2025": "Unbounded Consumption",
    "ASI01:2026": "Agent Goal Hijack",
    "ASI02:2026": "Tool Misuse and Exploitation",
    "ASI03:2026": "Identity and Privilege Abuse",
    "ASI04:2026": "Agentic Supply Chain Vulnerabilities",
    "ASI05:2026": "Unexpected Code Execution",
    "ASI06:2026": "Memory and Context Poisoning",
    "ASI07:2026": "Insecure Inter-Agent Communication",
    "ASI08:2026": "Cascading Failures",
    "ASI09:2026": "Human-Agent Trust Exploitation",
    "ASI10:2026": "Rogue Agents",
}


def techniques(attacks: Iterable[str], owasp: Iterable[str]) -> tuple[Technique, ...]:
    atlas = (
        Technique(
            id=each,
            catalogue="MITRE ATLAS",
            name=ATLAS.get(each),
            url=f"https://atlas.mitre.org/techniques/{each}",
        )
        for each in attacks
    )
    return (*atlas, *(Technique(id=each, catalogue="OWASP", name=OWASP.get(each)) for each in owasp))
