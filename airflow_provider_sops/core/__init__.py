# SPDX-License-Identifier: Apache-2.0
"""BlueKing Standard OPS (SOPS) itself: calls, answers, errors and clients. Imports nothing of Airflow."""
