# SPDX-License-Identifier: Apache-2.0
"""A pause node of SOPS as a question of Airflow's: what is asked, and what follows from the answer, without I/O."""
