"""The EdgeQ dashboard: `streamlit run dashboard.py`. The pages are `edgeq.dashboard`; EDGEQ_DB names another store."""

from edgeq.dashboard.app import main

main()
