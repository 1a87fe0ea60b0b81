import time
from tests.cli.test_people import *
from tests.cli.test_people import stage
from tests.cli.conftest import qsaga, on_stage
def test_it(qsaga, stage):
    def t(name, f):
        a=time.time(); r=f(); print(name, round(time.time()-a,2), file=open("/tmp/j/times.txt","a")); return r
    t("run", lambda: qsaga(*RUN, "--key", "o1", "--tenant", "old", "--environment", "test"))
    t("show", lambda: qsaga("show", "old/o1", "--json"))
    t("explain", lambda: qsaga("explain", "old/o1"))
    t("unknown show", lambda: qsaga("show", "old/none"))
    t("unknown watch", lambda: qsaga("watch", "old/none"))
    async def delete(client):
        await client.workflow_service.delete_workflow_execution(DeleteWorkflowExecutionRequest(namespace="default", workflow_execution=WorkflowExecution(workflow_id="old/o1")))
    t("delete", lambda: on_server(stage, delete))
    t("gone", lambda: wait_until(lambda: (print(time.time(), qsaga("watch", "old/o1").err[-60:], file=open("/tmp/j/times.txt","a")) or "'old/o1' is known" in qsaga("watch", "old/o1").err), "x", pause=1))
    t("show", lambda: qsaga("show", "old/o1", "--json"))
    t("approve", lambda: qsaga("approve", "old/o1", "--why", "w", "--by", "bob"))
