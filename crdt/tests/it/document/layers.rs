//! Random scripts by several authors, through all layers.

use aether_crdt::proto::document::body::Body;

use super::authors::World;

#[test]
fn whoever_gets_the_same_changes_in_whatever_order_has_the_same_document() {
    let mut changes = 0;
    for seed in 0..40 {
        let mut world = World::new(seed);
        (0..60).for_each(|_| world.step());
        world.settle();
        let World { authors, log, .. } = &mut world;
        let (heads, content) = (authors[0].body.heads().unwrap(), authors[0].content());
        for author in authors {
            assert_eq!(author.body.heads().unwrap(), heads, "seed {seed}");
            assert_eq!(author.content(), content, "seed {seed}");
            let bytes = author.body.save().unwrap();
            let loaded = Body::load(&bytes, *author.body.settings()).unwrap();
            assert_eq!(loaded.heads().unwrap(), heads, "seed {seed}");
            let view = loaded.view().unwrap();
            assert_eq!(view.content(super::authors::ROOT).unwrap(), content, "seed {seed}");
            assert_eq!(loaded.index().weight(), author.body.index().weight());
        }
        changes += log.len();
    }
    assert!(changes > 300, "only {changes}");
}
