# SPDX-License-Identifier: Apache-2.0
"""One loop that reads the states of all waiting tasks."""
