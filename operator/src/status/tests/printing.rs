//! What `kubectl get` would print.

use posthouse_crds::Kind;
use serde_json::Value;

use super::{
    super::{
        form,
        generations::Generations,
        kinds,
        table::{Layout, table},
    },
    scene::{ALL, Scene, objects},
};

/// Every object of the scene, as its file has it.
fn shown() -> (Vec<Value>, Layout) {
    let mut scene = Scene::of(ALL);
    scene.applies(1).settle();
    let mut generations = Generations::default();
    let mut all = Vec::new();
    for (mut one, spec) in super::super::observation::observed(&objects(ALL)) {
        generations.count(&mut one, &spec, scene.now.wall);
        let id = (one.kind, one.key.clone());
        let mut object = form::object(&id, one.generation, &scene.written[&id], generations.0.get(&id));
        if one.kind == Kind::Pop3Account {
            object["status"]["lastRun"] =
                serde_json::json!({"time": "2026-03-01T11:00:00Z", "result": "250 done", "messages": 3});
            object["status"]["nextRun"] = "2026-03-04T15:00:00Z".into();
        }
        assert_eq!(form::parse(&form::render(&object)), Some(object.clone()));
        all.push(object);
    }
    let now = "2026-03-04T14:30:00Z".parse().unwrap();
    (all, Layout { has_namespace: true, is_wide: false, is_qualified: false, now })
}

#[test]
fn each_kind_has_the_table_that_kubectl_would_print() {
    let (all, layout) = shown();
    let golden = [
        "NAMESPACE   NAME   HOSTNAME           NODES   DESIRED   DOMAINS   READY   REASON   AGE\n\
         mail        edge   mail.example.com   1       1         1         True    Ready    3d2h\n",
        "NAMESPACE   NAME          DOMAIN        GATEWAY   HELD   DEFERRED   READY   REASON   AGE\n\
         mail        example-com   example.com   edge                        True    Ready    3d2h\n",
        "NAMESPACE   NAME   DOMAIN        READY   REASON   AGE\n\
         mail        more   example-com   True    Ready    3d2h\n",
        "NAMESPACE   NAME   GATEWAY   TIER   ORDER   HOST                READY   REASON   AGE\n\
         mail        out    edge             100     relay.example.net   True    Ready    3d2h\n",
        "NAMESPACE   NAME      SERVER            LAST   RESULT     MESSAGES   NEXT                   READY   REASON           AGE\n\
         mail        isp-box   pop.isp.example   3d3h   250 done   3          2026-03-04T15:00:00Z   False   SecretNotFound   3d2h\n",
        "NAMESPACE   NAME         SERVER               METHOD   LAST   RESULT   NEXT   READY   REASON             AGE\n\
         mail        backup-isp   backup.isp.example   Etrn                            False   ScheduleNotFound   3d2h\n",
        "NAMESPACE   NAME     ZONE            READY   REASON          AGE\n\
         mail        unused   Europe/Prague   True    NotReferenced   3d2h\n",
        "NAMESPACE   NAME        LOGIN       GATEWAY   READY   REASON           AGE\n\
         mail        customer1   customer1   edge      False   SecretNotFound   3d2h\n",
    ];
    for ((kind, golden), object) in Kind::ALL.into_iter().zip(golden).zip(&all) {
        assert_eq!(object["kind"], kind.name());
        assert_eq!(table(kind, &[object], layout), golden, "{kind}");
    }
    let alone = Layout { has_namespace: false, is_wide: true, is_qualified: true, ..layout };
    assert_eq!(
        table(Kind::MailSchedule, &[&all[6]], alone),
        "NAME                                ZONE            READY   REASON          AGE    MESSAGE\n\
         mailschedule.posthouse.dev/unused   Europe/Prague   True    NotReferenced   3d2h   nothing uses this schedule: name it in a scheduleRef, or delete it\n"
    );
}

#[test]
fn kinds_are_named_as_kubectl_takes_them() {
    for text in ["maildomains", "maildomain", "md", "MailDomain", "maildomains.posthouse.dev"] {
        assert_eq!(kinds::meant(text), Ok(vec![Kind::MailDomain]), "{text}");
    }
    assert_eq!(kinds::meant("rr,mgw,rr"), Ok(vec![Kind::RelayRule, Kind::MailGateway]));
    assert_eq!(kinds::meant("posthouse"), Ok(Kind::ALL.into()));
    assert_eq!(kinds::meant("md,pods"), Err("pods"));
}
