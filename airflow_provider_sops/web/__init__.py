# SPDX-License-Identifier: Apache-2.0
"""What the provider serves in Airflow's API server (Airflow 3.0 and newer). No other process imports it."""
