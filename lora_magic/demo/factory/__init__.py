"""Builds and measures the embedded model. Nothing else imports it, and it is not in the wheel.

Its commands run from a checkout: `python -m lora_magic.demo.factory.COMMAND`, where COMMAND is
pretrain, study, probe, adapters or show. README.md says what each does.
"""
